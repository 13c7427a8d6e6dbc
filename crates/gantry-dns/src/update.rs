//! What the process that answers is told of the cluster: the parts of objects that answers are made of.
//! Both sides are the same program, so the form is nobody else's business.

use std::io;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::index::{ServiceFacts, SliceFacts, names, slice_facts};

/// One change of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Update {
    /// Whether a namespace exists.
    Namespace { name: String, exists: bool },
    /// What there is to answer about a Service; `None` when it is gone.
    Service { namespace: String, name: String, facts: Option<ServiceFacts> },
    /// A slice and the Service that it belongs to; `None` when it is gone.
    Slice { namespace: String, name: String, facts: Option<(String, SliceFacts)> },
    /// Everything that exists has been told.
    Known,
}

impl Update {
    /// A Service exists, newly or in a new state.
    pub(crate) fn service(service: &Service) -> Self {
        Self::of_service(service, ServiceFacts::of(service))
    }

    /// A Service is gone.
    pub(crate) fn no_service(service: &Service) -> Self {
        Self::of_service(service, None)
    }

    /// A slice exists, newly or in a new state.
    pub(crate) fn slice(slice: &EndpointSlice) -> Self {
        Self::of_slice(slice, slice_facts(slice))
    }

    /// A slice is gone.
    pub(crate) fn no_slice(slice: &EndpointSlice) -> Self {
        Self::of_slice(slice, None)
    }

    fn of_service(service: &Service, facts: Option<ServiceFacts>) -> Self {
        let (namespace, name) = names(&service.metadata);
        Self::Service { namespace, name, facts }
    }

    fn of_slice(slice: &EndpointSlice, facts: Option<(String, SliceFacts)>) -> Self {
        let (namespace, name) = names(&slice.metadata);
        Self::Slice { namespace, name, facts }
    }

    /// Appends it to what is to be sent.
    pub(crate) fn write(&self, to: &mut Vec<u8>) -> io::Result<()> {
        write(self, to)
    }

    /// The next one; `None` at the end of the stream. What cannot be understood is `InvalidData`.
    pub(crate) async fn read(
        from: &mut (impl AsyncRead + Unpin),
        buffer: &mut Vec<u8>,
    ) -> io::Result<Option<Self>> {
        let length = match from.read_u32_le().await {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        buffer.resize(length as usize, 0);
        from.read_exact(buffer).await?;
        let update = gantry_json::from_slice(buffer);
        update.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// Appends a message: its length in four bytes, then JSON.
pub(crate) fn write(message: &impl Serialize, to: &mut Vec<u8>) -> io::Result<()> {
    let start = to.len();
    to.extend([0; 4]);
    gantry_json::to_writer(&mut *to, message)?;
    let length = u32::try_from(to.len() - start - 4).map_err(io::Error::other)?;
    to[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}
