# What a newcomer types. Everything else is cargo.

# Checked SQL is checked against .sqlx, never against a database that happens to be around.
export SQLX_OFFLINE := true

.PHONY: help setup demo test check bench offline-data clean

help:
	@echo "make demo          show the main job end to end: remit, buy, settle, refund, release, reconcile, prove"
	@echo "make test          run every test against a scratch PostgreSQL"
	@echo "make check         formatting, clippy without warnings, tidy rules"
	@echo "make bench         measure purchases and notifications against PostgreSQL's own benchmark"
	@echo "make setup         install PostgreSQL if it is missing"
	@echo "make offline-data  write .sqlx anew after a change to SQL"
	@echo "make clean         remove what was built"

setup:
	@scripts/setup

demo: setup
	cargo build --release
	target/release/custody demo

test: setup
	scripts/with-postgres cargo test

check:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo test --test it tidy

bench: setup
	cargo build --release
	target/release/custody bench --all
	target/release/custody bench --notifications --seconds 4
	target/release/custody bench --history 1000000

offline-data: setup
	scripts/offline-data

clean:
	cargo clean
