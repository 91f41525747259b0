//! placeholder
pub struct Row {
    pub point: failpoints::Point,
}
pub const ROWS: &[Row] = &[];
