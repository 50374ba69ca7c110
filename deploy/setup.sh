# Sourced by deploy/local/up and tests/run: what both need on a fresh Debian machine. Says what it does.
# shellcheck shell=bash

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# packages NAME…: installs those Debian packages that are missing.
packages() {
  local missing=() package root=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || die "these packages are missing, and there is no apt-get: ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "run this as root, then try again: apt-get install ${missing[*]}"
    root=(sudo)
  fi
  say "installing Debian packages: ${missing[*]}"
  "${root[@]}" apt-get update -qq
  # policy-rc.d would be the only other way to keep Debian from starting a daemon that a package brings.
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# build_packages: what the Rust build needs: a C++ compiler, and libclang for the bindings of RocksDB.
build_packages() {
  command -v cargo >/dev/null || die "cargo is missing: install Rust (https://rustup.rs), then try again"
  packages gcc g++ libc6-dev libclang-dev
}

# rocksdb: points cargo at a RocksDB that is compiled once a machine, from the very crate that Cargo.lock names, and
# shared by all clones and profiles. Without it `cargo build` works too and compiles RocksDB in each `target/`.
rocksdb() {
  local version folder build
  version=$(sed -n '/^name = "librocksdb-sys"$/{n;s/^version = "\(.*\)"$/\1/p}' Cargo.lock)
  [ -n "$version" ] || die "Cargo.lock names no librocksdb-sys"
  folder=${REVOQ_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/revoq}/rocksdb-$version
  if [ ! -f "$folder/librocksdb.a" ]; then
    say "compiling RocksDB $version into $folder (once a machine; 10 to 15 minutes on two cores)"
    mkdir -p "$folder"
    build=$folder/build
    env -u ROCKSDB_LIB_DIR CARGO_TARGET_DIR="$build" CARGO_PROFILE_RELEASE_DEBUG=false cargo build --quiet --locked --release -p librocksdb-sys
    # Into place by a rename, so that an interrupted copy is never taken for the library.
    cp "$(ls -t "$build"/release/build/librocksdb-sys-*/out/librocksdb.a | head -n 1)" "$folder/librocksdb.a.new"
    mv "$folder/librocksdb.a.new" "$folder/librocksdb.a"
    rm -rf "$build"
  fi
  export ROCKSDB_LIB_DIR=$folder ROCKSDB_STATIC=1
}
