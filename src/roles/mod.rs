//! What a korch process can be. Each role starts its loops and says how it ended.

pub mod orchestrate;
pub mod ui;
pub mod up;
pub mod worker;
