"""The provider side of Chat Completions: writes requests and reads streams and errors."""
