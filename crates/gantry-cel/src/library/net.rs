//! IP addresses and blocks of them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Implementation, no_overload};
use crate::error::EvaluationError;
use crate::value::Value;

type Outcome<'a> = Result<Value<'a>, EvaluationError>;

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "ip" => |args| match args {
            [Value::String(text)] => address(text.as_str()).map(Value::Ip),
            [Value::Cidr(address, _)] => Ok(Value::Ip(*address)),
            _ => no_overload(),
        },
        "isIP" => |args| match args {
            [Value::String(text)] => Ok(Value::Bool(address(text.as_str()).is_ok())),
            _ => no_overload(),
        },
        "ip.isCanonical" => |args| match args {
            [Value::String(text)] => Ok(Value::Bool(address(text.as_str())?.to_string() == text.as_str())),
            _ => no_overload(),
        },
        "family" => |args| match args {
            [Value::Ip(address)] => Ok(Value::Int(if address.is_ipv4() { 4 } else { 6 })),
            _ => no_overload(),
        },
        "isUnspecified" => |args| test(args, IpAddr::is_unspecified),
        "isLoopback" => |args| test(args, IpAddr::is_loopback),
        "isLinkLocalMulticast" => |args| test(args, is_link_local_multicast),
        "isLinkLocalUnicast" => |args| test(args, is_link_local_unicast),
        "isGlobalUnicast" => |args| {
            test(args, |address| {
                let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
                !(address.is_unspecified()
                    || address.is_loopback()
                    || address.is_multicast()
                    || is_link_local_unicast(address)
                    || broadcast)
            })
        },
        "cidr" => |args| match args {
            [Value::String(text)] => {
                block(text.as_str()).map(|(address, length)| Value::Cidr(address, length))
            }
            _ => no_overload(),
        },
        "isCIDR" => |args| match args {
            [Value::String(text)] => Ok(Value::Bool(block(text.as_str()).is_ok())),
            _ => no_overload(),
        },
        "containsIP" => |args| match args {
            [Value::Cidr(block, length), Value::Ip(address)] => {
                Ok(Value::Bool(net(*block, *length)?.contains(address)))
            }
            [Value::Cidr(block, length), Value::String(text)] => {
                Ok(Value::Bool(net(*block, *length)?.contains(&address(text.as_str())?)))
            }
            _ => no_overload(),
        },
        "containsCIDR" => |args| match args {
            [Value::Cidr(outer, length), Value::Cidr(inner, other)] => {
                Ok(Value::Bool(net(*outer, *length)?.contains(&net(*inner, *other)?)))
            }
            [Value::Cidr(outer, length), Value::String(text)] => {
                let (inner, other) = block(text.as_str())?;
                Ok(Value::Bool(net(*outer, *length)?.contains(&net(inner, other)?)))
            }
            _ => no_overload(),
        },
        "masked" => |args| match args {
            [Value::Cidr(address, length)] => Ok(Value::Cidr(net(*address, *length)?.network(), *length)),
            _ => no_overload(),
        },
        "prefixLength" => |args| match args {
            [Value::Cidr(_, length)] => Ok(Value::Int(i64::from(*length))),
            _ => no_overload(),
        },
        _ => return None,
    })
}

fn test<'a>(args: &[Value<'a>], test: fn(&IpAddr) -> bool) -> Outcome<'a> {
    match args {
        [Value::Ip(address)] => Ok(Value::Bool(test(address))),
        _ => no_overload(),
    }
}

fn is_link_local_unicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_link_local_multicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

fn address(text: &str) -> Result<IpAddr, EvaluationError> {
    let refused = |why: &str| {
        EvaluationError::failed(format!(
            "IP Address {text:?} parse error during conversion from string: {why}"
        ))
    };
    if text.contains('%') {
        return Err(refused("IP address with zone value is not allowed"));
    }
    let address: IpAddr =
        text.parse().map_err(|_| refused(&format!("ParseAddr({text:?}): unable to parse IP")))?;
    match address {
        IpAddr::V6(inner) if inner.to_ipv4_mapped().is_some() => {
            Err(refused("IPv4-mapped IPv6 address is not allowed"))
        }
        address => Ok(address),
    }
}

fn block(text: &str) -> Result<(IpAddr, u8), EvaluationError> {
    let refused = || {
        EvaluationError::failed(format!(
            "network address parse error during conversion from string: {text:?}"
        ))
    };
    let (before, length) = text.split_once('/').ok_or_else(refused)?;
    let block = address(before).map_err(|_| refused())?;
    if length.is_empty() || (length.len() > 1 && length.starts_with('0')) || length.starts_with('+') {
        return Err(refused());
    }
    let length: u8 = length.parse().map_err(|_| refused())?;
    net(block, length).map_err(|_| refused())?;
    Ok((block, length))
}

fn net(address: IpAddr, length: u8) -> Result<IpNet, EvaluationError> {
    IpNet::new(address, length).map_err(|error| EvaluationError::failed(error.to_string()))
}
