//! Programs of others on the same interface go on, and so does ours.
