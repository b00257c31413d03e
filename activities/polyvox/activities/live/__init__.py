"""What reaches the client while a run is still going on."""
