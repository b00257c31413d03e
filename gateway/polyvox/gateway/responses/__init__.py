"""The state of the Responses API: stored responses, conversations, background, WebSocket."""
