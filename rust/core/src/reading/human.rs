//! stub
use crate::json::Text;
/// s
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// c
    pub colour: bool,
    /// f
    pub full: bool,
}
/// h
pub struct Human;
impl Human {
    /// n
    #[must_use]
    pub fn new(_style: Style) -> Self {
        Self
    }
    /// r
    pub fn record(&mut self, text: Text<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(text.bytes());
        out.push(b'\n');
    }
    /// f
    pub fn finish(&mut self, _out: &mut Vec<u8>) {}
}
