"""HTTP connections and what every route needs of them: limits, keys, bodies, errors."""
