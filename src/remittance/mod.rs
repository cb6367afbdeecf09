//! Families and the money they send.
