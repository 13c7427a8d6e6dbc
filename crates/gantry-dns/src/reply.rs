//! What is sent back, and how it is made to fit a datagram.

use hickory_proto::op::{Edns, Metadata, ResponseCode};
use hickory_proto::rr::{Record, RecordType};
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::server::Request;
use hickory_server::zone_handler::MessageResponseBuilder;

/// The largest datagram sent or asked for: what passes nearly every path in one piece.
pub(crate) const MAX_UDP: u16 = 1232;

/// An answer, before it becomes a message.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: ResponseCode,
    pub(crate) authoritative: bool,
    pub(crate) truncated: bool,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

impl Reply {
    /// A reply without records.
    pub(crate) fn code(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            truncated: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }

    /// Begins addresses at another one each time, for clients that take the first.
    pub(crate) fn rotate(&mut self, by: u16) {
        let addresses = |record: &Record| matches!(record.record_type(), RecordType::A | RecordType::AAAA);
        if self.answers.len() > 1 && self.answers.iter().all(addresses) {
            let by = usize::from(by) % self.answers.len();
            self.answers.rotate_left(by);
        }
    }

    /// Leaves out what does not fit into `limit` bytes: first the additional records, whose lack
    /// nobody notices, then answers, which sets the truncation flag (RFC 2181, section 9).
    pub(crate) fn fit(&mut self, request: &Request, edns: Option<&Edns>, limit: u16) {
        if self.fits(request, edns, limit, self.answers.len()) {
            return;
        }
        self.additionals.clear();
        if self.fits(request, edns, limit, self.answers.len()) {
            return;
        }
        self.truncated = true;
        self.authorities.clear();
        // The largest number of answers that fits, between one known to fit and one known not to.
        let (mut most, mut exceeds) = (0, self.answers.len() + 1);
        while exceeds - most > 1 {
            let count = most.midpoint(exceeds);
            if self.fits(request, edns, limit, count) { most = count } else { exceeds = count }
        }
        self.answers.truncate(most);
    }

    /// Whether the message with the first `count` answers can be encoded whole. The encoder is
    /// asked because it compresses names less than it could.
    fn fits(&self, request: &Request, edns: Option<&Edns>, limit: u16, count: usize) -> bool {
        let mut bytes = Vec::with_capacity(usize::from(limit));
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(limit);
        let metadata = Metadata::response_from_request(&request.metadata);
        let answers = self.answers.iter().take(count);
        let response = MessageResponseBuilder::new(&request.queries, edns);
        let response = response.build(metadata, answers, &self.authorities, [], &self.additionals);
        response.destructive_emit(&mut encoder).is_ok_and(|info| !info.truncation)
    }
}
