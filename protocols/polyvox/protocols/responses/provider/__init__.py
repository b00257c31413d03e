"""The provider side of Responses: writes requests and reads streams and errors."""
