//! DenyServiceExternalIPs: nobody takes addresses for a Service that are not the cluster's to give. Off by
//! default.

use gantry_api::status::ApiError;
use gantry_json::Value;

use super::{Operation, Plugin, Request, Turns};
use crate::Lookup;

pub(super) struct DenyServiceExternalIps;

impl Plugin for DenyServiceExternalIps {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    fn turns(&self) -> Turns {
        Turns::validating(Turns::WRITES)
    }

    fn validate(&self, request: &Request<'_>, _: &dyn Lookup) -> Result<(), ApiError> {
        let written = matches!(request.operation, Operation::Create | Operation::Update);
        if !written || !request.is("services", "") {
            return Ok(());
        }
        let before = request.old.map(addresses).unwrap_or_default();
        match addresses(&request.object).iter().all(|address| before.contains(address)) {
            true => Ok(()),
            false => Err(request.forbidden("Use of external IPs is denied by admission control")),
        }
    }
}

fn addresses(service: &Value) -> &[Value] {
    service["spec"]["externalIPs"].as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    #[test]
    fn only_those_that_are_there() {
        let user = User::new("jane", []);
        let service =
            |addresses: &[&str]| json!({"metadata": {"name": "s"}, "spec": {"externalIPs": addresses}});
        let check = |new: &[&str], old: Option<&[&str]>, expect: bool| {
            let old = old.map(service);
            let operation = if old.is_some() { Operation::Update } else { Operation::Create };
            let request = request(operation, "services", &user, service(new), old.as_ref());
            let got = admit(&DenyServiceExternalIps, request, &Objects(vec![])).map(drop);
            let why = "services \"s\" is forbidden: Use of external IPs is denied by admission control";
            assert_eq!(got, if expect { Ok(()) } else { Err(why.to_owned()) });
        };
        check(&[], None, true);
        check(&["1.1.1.1"], None, false);
        check(&["1.1.1.1"], Some(&["1.1.1.1", "2.2.2.2"]), true);
        check(&["1.1.1.1", "3.3.3.3"], Some(&["1.1.1.1"]), false);
    }
}
