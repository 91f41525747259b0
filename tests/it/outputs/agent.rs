//! The agent with outputs in buckets.
