//! AlwaysDeny: nothing is written. Off by default, and for tests of clients.

use gantry_api::status::ApiError;

use super::{Plugin, Request, Turns};
use crate::Lookup;

pub(super) struct AlwaysDeny;

impl Plugin for AlwaysDeny {
    fn name(&self) -> &'static str {
        "AlwaysDeny"
    }

    fn turns(&self) -> Turns {
        Turns::both(Turns::ALL)
    }

    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        self.validate(request, objects)
    }

    fn validate(&self, request: &Request<'_>, _: &dyn Lookup) -> Result<(), ApiError> {
        Err(request.forbidden("admission control is denying all modifications"))
    }
}
