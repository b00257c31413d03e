"""What providers' errors mean, for all protocols: kinds that a status alone does not show."""
