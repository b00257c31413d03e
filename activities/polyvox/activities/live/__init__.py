"""Events for the client while a run is going on."""
