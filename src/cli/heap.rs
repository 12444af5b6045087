//! How the C library's allocator is used.

/// Arenas of the allocator. glibc opens up to eight for every core, and each keeps what the largest batch that was ever made in it took:
/// with eight sinks on two cores that was 174 MiB at its peak, and 93 MiB with two arenas, for the same processor time
/// (`tests/soak/run refused`, docs/decisions/0011).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: i32 = 2;

/// Bounds the allocator's arenas; to be called before the first thread starts. Whoever set `MALLOC_ARENA_MAX` knows better.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn few_arenas() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: mallopt takes two numbers, keeps no pointer, and no other thread runs yet
        #[expect(
            unsafe_code,
            reason = "there is no safe wrapper of mallopt(3), and the environment is read before main"
        )]
        let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn few_arenas() {}
