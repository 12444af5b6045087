//! Loop 2: fetches the bodies of owed contents and stores their records (design §4, 3 and 4).
pub mod chunk;
