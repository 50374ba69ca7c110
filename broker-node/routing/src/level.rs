/// The next level of a topic from `at` on: its bytes, and where the one after it starts; `None` past the last.
pub(crate) fn next_level(topic: &[u8], at: usize) -> (&[u8], Option<usize>) {
    let rest = &topic[at..];
    match rest.iter().position(|&byte| byte == b'/') {
        Some(len) => (&rest[..len], Some(at + len + 1)),
        None => (rest, None),
    }
}
