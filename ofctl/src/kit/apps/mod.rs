//! Applications to run, to learn from and to build on, each small.

mod hub;
mod learning;

pub use hub::Hub;
pub use learning::LearningSwitch;
