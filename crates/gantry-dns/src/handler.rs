//! From a request to its reply.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};
use hickory_server::net::xfer::Protocol;
use hickory_server::server::Request;
use hickory_server::zone_handler::MessageResponseBuilder;
use parking_lot::RwLock;

use crate::forward::{Forwarder, Question};
use crate::reply::{MAX_UDP, Reply};
use crate::{Answer, Index};

/// How many names an ExternalName may lead through.
const MOST_ALIASES: usize = 8;

/// Answers requests from the index, and from the forwarder what is not in it.
pub(crate) struct Handler {
    pub(crate) zone: RwLock<Zone>,
    pub(crate) forwarder: Arc<Forwarder>,
}

/// What is known of the cluster.
pub(crate) struct Zone {
    pub(crate) index: Index,
    /// Whether it is everything. Before that, names of the cluster are answered with SERVFAIL.
    pub(crate) known: bool,
}

impl Handler {
    /// The message to send back; `None` for what is no question.
    pub(crate) async fn answer(
        &self,
        question: Vec<u8>,
        source: SocketAddr,
        protocol: Protocol,
    ) -> Option<Vec<u8>> {
        let header = Header::read(&mut BinDecoder::new(&question)).ok()?;
        if header.metadata.message_type == MessageType::Response {
            return None;
        }
        let Ok(request) = Request::from_bytes(question, source, protocol) else {
            return bare(&header.metadata, ResponseCode::FormErr);
        };
        let mut edns = None;
        let mut reply = match request.queries.queries() {
            _ if request.metadata.op_code != OpCode::Query => Reply::code(ResponseCode::NotImp),
            [query] => {
                let query = query.original();
                edns = request.edns.as_ref().map(answer_edns);
                let mut reply = self.reply(&request, query).await;
                reply.rotate(request.metadata.id);
                if protocol == Protocol::Udp {
                    let limit = edns.as_ref().map_or(512, Edns::max_payload);
                    reply.fit(&request, edns.as_ref(), limit);
                }
                reply
            }
            _ => Reply::code(ResponseCode::FormErr),
        };

        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.recursion_available = true;
        metadata.authoritative = reply.authoritative;
        metadata.truncation = reply.truncated;
        metadata.response_code = reply.code;
        let builder = MessageResponseBuilder::new(&request.queries, edns.as_ref());
        let additionals = std::mem::take(&mut reply.additionals);
        let response = builder.build(metadata, &reply.answers, &reply.authorities, [], &additionals);
        let mut bytes = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(u16::MAX);
        match response.destructive_emit(&mut encoder) {
            Ok(_) => Some(bytes),
            Err(error) => {
                tracing::debug!(client = %source, %error, "cannot encode a DNS answer");
                bare(&request.metadata, ResponseCode::ServFail)
            }
        }
    }
}

/// A reply that is a header only.
fn bare(asked: &Metadata, code: ResponseCode) -> Option<Vec<u8>> {
    let mut metadata = Metadata::response_from_request(asked);
    metadata.response_code = code;
    Header { metadata, counts: HeaderCounts::default() }.to_bytes().ok()
}

impl Handler {
    async fn reply(&self, request: &Request, query: &Query) -> Reply {
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Reply::code(ResponseCode::BADVERS);
        }
        if query.query_class() != DNSClass::IN
            || matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR)
        {
            return Reply::code(ResponseCode::Refused);
        }
        let dnssec = request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        let mut reply = Reply::code(ResponseCode::NoError);
        let mut name = query.name().clone();
        for _ in 0..MOST_ALIASES {
            let Some(answer) = self.lookup(&name, query.query_type()) else {
                return Reply::code(ResponseCode::ServFail);
            };
            reply.authoritative |= answer != Answer::Elsewhere;
            match answer {
                Answer::Records { answers, additionals } => {
                    reply.answers.extend(answers);
                    reply.additionals = additionals;
                }
                Answer::Alias { alias, target } => {
                    reply.answers.push(*alias);
                    name = target;
                    if request.metadata.recursion_desired {
                        continue;
                    }
                }
                Answer::NoData => reply.authorities.push(self.zone.read().index.soa()),
                Answer::NoName => {
                    reply.code = ResponseCode::NXDomain;
                    reply.authorities.push(self.zone.read().index.soa());
                }
                Answer::Elsewhere => return self.forward(reply, &name, query.query_type(), dnssec).await,
            }
            return reply;
        }
        Reply::code(ResponseCode::ServFail)
    }

    /// `None` where the answer may be the cluster's but is not known yet.
    fn lookup(&self, name: &Name, record_type: RecordType) -> Option<Answer> {
        let zone = self.zone.read();
        let answer = zone.index.lookup(name, record_type);
        let ours = answer != Answer::Elsewhere || name.parse_arpa_name().is_ok();
        if ours && !zone.known { None } else { Some(answer) }
    }

    async fn forward(&self, mut reply: Reply, name: &Name, record_type: RecordType, dnssec: bool) -> Reply {
        match self.forwarder.resolve(Question::new(name, record_type, dnssec)).await {
            Ok(message) => {
                reply.code = message.metadata.response_code;
                reply.answers.extend(message.answers.iter().cloned());
                reply.authorities.extend(message.authorities.iter().cloned());
                reply.additionals.extend(message.additionals.iter().cloned());
                // The asker's own spelling: some check that it comes back.
                for record in reply.answers.iter_mut().filter(|record| record.name == *name) {
                    record.name = name.clone();
                }
                reply
            }
            Err(error) => {
                tracing::debug!(%name, %record_type, %error, "cannot forward");
                Reply::code(ResponseCode::ServFail)
            }
        }
    }
}

/// Our side of EDNS. Its payload is also the limit for this answer: no more than the asker takes.
fn answer_edns(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(asked.max_payload().clamp(512, MAX_UDP)).set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}
