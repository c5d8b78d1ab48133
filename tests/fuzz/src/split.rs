//! An input that says itself how the rest of it arrives.

/// The pieces in which bytes come.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    sizes: &'a [u8],
    next: usize,
    rest: &'a [u8],
}

impl<'a> Pieces<'a> {
    /// The first byte of `data` is a count, as many bytes behind it are the sizes of the pieces,
    /// over and over. With no size there is one piece.
    pub(crate) fn of(data: &'a [u8]) -> (Self, &'a [u8]) {
        let (count, rest) = data.split_first().unwrap_or((&0, data));
        let (sizes, rest) = rest.split_at(usize::from(count % 8).min(rest.len()));
        let next = 0;
        (Self { sizes, next, rest }, rest)
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let size = match self.sizes.get(self.next) {
            Some(size) => usize::from(*size) + 1,
            None => self.rest.len(),
        };
        self.next = (self.next + 1) % self.sizes.len().max(1);
        let (piece, rest) = self.rest.split_at(size.min(self.rest.len()));
        self.rest = rest;
        Some(piece)
    }
}
