//! bad_calls
