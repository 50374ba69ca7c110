//! Tests of a whole cluster: real TLS, sockets, RocksDB, and clients that we did not write.

mod bad_input;
mod clients;
mod command_line;
mod cut;
mod kept;
mod link;
mod load;
mod multi_stream;
mod oracle;
mod passwords;
mod processes;
mod races;
mod restart;
mod robustness;
mod selectors;
mod sessions;
mod settings;
mod stall;
mod tickets;
mod transitions;
mod transports;
mod watch;
