"""What attempts of calls do after a process died: reuse finished Replies, wait for a client."""
