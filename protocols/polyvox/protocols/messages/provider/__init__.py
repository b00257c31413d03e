"""The provider side of Messages: writes requests and reads streams and errors."""
