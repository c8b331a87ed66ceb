//! stub
use super::Stream;
use std::io;
/// a
pub struct About {
    /// n
    pub agent_name: String,
    /// s
    pub session_id: String,
    /// t
    pub trajectory_id: String,
}
/// f
#[derive(Clone, Copy)]
pub enum Form {
    /// c
    Compact,
    /// a
    AsMngr,
}
/// b
pub struct Built {
    /// s
    pub steps: u64,
    /// w
    pub warnings: Vec<String>,
}
/// i
pub struct Index;
/// e
#[derive(Debug, thiserror::Error)]
pub enum AtifError {
    /// w
    #[error("{0}")]
    Write(io::Error),
    /// u
    #[error("unusual")]
    Unusual,
}
/// c
pub fn check(_stream: &Stream, _form: Form) -> Result<Index, AtifError> {
    Err(AtifError::Unusual)
}
/// w
pub fn write(
    _stream: &Stream,
    _index: &Index,
    _about: &About,
    _form: Form,
    _out: &mut dyn io::Write,
) -> Result<Built, AtifError> {
    Err(AtifError::Unusual)
}
