//! Topic filters to targets: exact table and trie.
