//! Every integration test, in one program, against a real PostgreSQL.

mod purchase;
mod tidy;
mod world;
