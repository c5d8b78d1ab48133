# Each target is a line or a few that anybody could type.

PREFIX = /usr/local
DESTDIR =
# What is installed, and packed; anybody who has one already says where.
BINARY = target/static/clsess
prefix = $(DESTDIR)$(PREFIX)
share = $(prefix)/share
# Debian has another directory for zsh.
zsh = $(share)/zsh/site-functions
# Units of users: under lib for systemd, but in a home under share.
units = $(prefix)/$(shell case '$(PREFIX)/' in ("$$HOME"/*) echo share;; (*) echo lib;; esac)/systemd/user
service = sed 's|/usr/local/|$(PREFIX)/|' crates/clsess/service/

# Linked statically: the command is started anew for every prompt, and a dynamic one spends 1 ms of
# each start on finding its libraries (measured beside make bench). Not relocatable: each holder is
# this program too, and would have 120 KiB of relocated pages of its own. It takes a target's name.
target = $(shell rustc -vV | sed -n 's/^host: //p')
release = target/$(target)/release
static = RUSTFLAGS='-C target-feature=+crt-static -C relocation-model=static' cargo build --release --target $(target)

.PHONY: build test check chaos soak demo bench bench-terminal fuzz docs install uninstall deb \
	cargo-install clean

# The command, the man pages and the completions are all there is; see install.
build:
	$(static) -p clsess
	install -D -m 755 $(release)/clsess target/static/clsess

# Some tests drive the real Claude Code, and a few Codex. Where it cannot be had they say that they are skipped.
test:
	@tests/install-claude >/dev/null || { [ $$? -eq 3 ] && echo 'the tests with the real Claude Code are skipped'; }
	@tests/install-codex >/dev/null || { [ $$? -eq 3 ] && echo 'the tests with the real Codex are skipped'; }
	cargo test --workspace --doc --quiet
	@if cargo nextest --version >/dev/null 2>&1; \
	then set -x; cargo nextest run --workspace; \
	else set -x; cargo test --workspace --all-targets; fi

check:
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps
	cargo deny --workspace check licenses bans sources
	@if cargo deny fetch db >/dev/null 2>&1; \
	then set -x; cargo deny --workspace --offline check advisories; \
	else echo 'advisories: skipped, the database cannot be reached'; fi

# Turns with faults at random, of which `make test` runs fewer. CLSESS_TEST_SEED sets the seed.
CHAOS_TURNS = 1000

chaos:
	CLSESS_CHAOS_TURNS=$(CHAOS_TURNS) cargo test --test chaos -- --nocapture

# A long time of it, with the program as it is installed: sessions that sleep and wake, a broker and
# agents that are killed, many clients that attach. `make test` has a short form of all.
SOAK_TURNS = 2000
DEATHS = 50
ATTACH_SECONDS = 60

soak:
	CLSESS_DEATHS=$(DEATHS) cargo test --release --test death -- --nocapture
	CLSESS_TUI_TURNS=200 cargo test --release --test tui -- --nocapture
	CLSESS_EVERYWHERE=1 cargo test --release --test conformance
	CLSESS_DEATHS=$(DEATHS) CLSESS_SWAPS=20 CLSESS_EVERYWHERE=1 CLSESS_ATTACH_SECONDS=$(ATTACH_SECONDS) cargo test --release --test attach -- --nocapture
	CLSESS_SOAK_TURNS=$(SOAK_TURNS) cargo test --release --test soak -- --nocapture

# With REAL=1 your own logged-in claude, else the real client with a loopback API.
demo:
	$(static) -p clsess -p fake-api
	@BIN=$(release) tests/demo $(if $(REAL),--real)

# The real client with a loopback API; the numbers are of this machine.
bench:
	$(static) -p clsess -p fake-api -p clsess-bench
	mkdir -p bench-out
	$(release)/clsess-bench --json bench-out/bench.json >bench-out/bench.md
	cat bench-out/bench.md

# Terminals side by side with tmux, screen and dtach, where they are installed; some ten minutes. The
# table of BENCHMARKS.md. What screens show is compared by pyte: python3 -m venv v, then
# v/bin/pip install pyte, and PYTHON=v/bin/python.
PYTHON = python3

bench-terminal:
	$(static) -p clsess
	mkdir -p bench-out
	CLSESS_BIN=$(abspath $(release))/clsess $(PYTHON) tests/bench/terminal/term_bench.py \
		--only raw,dtach,screen,tmux,clsess --json bench-out/terminal.json --md bench-out/terminal.md
	cat bench-out/terminal.md

# Each target for a minute. It needs a C++ compiler, for libFuzzer; the flags are those of cargo-fuzz,
# and any compiler of Rust takes them. What was found is in fuzz-out, a crash as crash-*: run
# target/fuzz/TRIPLE/fuzz/fuzz-NAME FILE to see it again.
FUZZ_SECONDS = 60
FUZZ_TARGETS = stream tracker lines sse frames holder vt
coverage = --cfg fuzzing -C passes=sancov-module -C link-dead-code $(addprefix -C llvm-args=-sanitizer-coverage-, \
	level=4 inline-8bit-counters pc-table trace-compares)

fuzz:
	RUSTFLAGS='$(coverage)' cargo build -p clsess-fuzz --features engine --bins \
		--profile fuzz --target $(target) --target-dir target/fuzz
	@failed=; for name in $(FUZZ_TARGETS); do \
		out=fuzz-out/$$name; mkdir -p $$out/corpus; \
		echo "fuzz: $$name, $(FUZZ_SECONDS) s"; \
		target/fuzz/$(target)/fuzz/fuzz-$$name $$out/corpus tests/fuzz/corpus/$$name \
			-artifact_prefix=$$out/ -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 \
			-max_len=65536 -use_value_profile=1 -print_final_stats=1 >$$out/log 2>&1 \
			|| { tail -40 $$out/log; failed="$$failed $$name"; }; \
		grep -E '^Done|number_of_executed|new_units|peak_rss' $$out/log; \
	done; \
	[ -z "$$failed" ] || { echo "fuzz: failed:$$failed; the inputs are fuzz-out/NAME/crash-*" >&2; exit 1; }

# Man pages and the example in PROTOCOL.md, made again from the code.
docs:
	UPDATE=1 cargo test --test docs the_committed_files_are_those_of_this_code

target/static/clsess:
	$(MAKE) build

# From a place that does not depend on rustc: under sudo there may be none.
install: $(BINARY)
	install -D -m 755 '$(BINARY)' '$(prefix)/bin/clsess'
	install -d '$(share)/man/man1' '$(share)/man/man5' '$(share)/man/man7'
	install -m 644 man/*.1 '$(share)/man/man1'
	install -m 644 man/*.5 '$(share)/man/man5'
	install -m 644 man/*.7 '$(share)/man/man7'
	install -D -m 644 completions/clsess.bash '$(share)/bash-completion/completions/clsess'
	install -D -m 644 completions/_clsess '$(zsh)/_clsess'
	install -D -m 644 completions/clsess.fish '$(share)/fish/vendor_completions.d/clsess.fish'
	install -d '$(units)' '$(share)/clsess'
	cp -R contrib '$(share)/clsess'
	$(service)clsess@.service | install -m 644 /dev/stdin '$(units)/clsess@.service'
	$(service)clsess@.socket | install -m 644 /dev/stdin '$(units)/clsess@.socket'
	$(service)clsess.plist | install -m 644 /dev/stdin '$(share)/clsess/clsess.plist'

# What install has put there, with the same PREFIX; directories stay.
uninstall:
	rm -f '$(prefix)/bin/clsess'
	rm -f '$(share)'/man/man[157]/clsess.1 '$(share)'/man/man[157]/clsess-*.[157]
	rm -f '$(share)/bash-completion/completions/clsess' '$(zsh)/_clsess'
	rm -f '$(share)/fish/vendor_completions.d/clsess.fish' '$(share)/clsess/clsess.plist'
	rm -f '$(units)/clsess@.service' '$(units)/clsess@.socket'
	rm -rf '$(share)/clsess/contrib'

# A package for Debian and what descends from it, in DEB.
DEB = target/debian

deb: $(BINARY)
	packaging/deb '$(BINARY)' '$(DEB)'

# What `cargo install --path .` makes, from nothing but this checkout; it takes minutes.
cargo-install:
	cargo install --locked --path . --root target/cargo-install
	target/cargo-install/bin/clsess version

clean:
	cargo clean
