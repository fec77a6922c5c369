//! What is asked.

use std::net::IpAddr;

use signet_endpoints::{EndpointReport, Workload, WorkloadName};
use signet_policy::{Name, Namespace, Protocol};
use signet_proto::mesh::v1::ExplainRequest;
use thiserror::Error;

use super::Maps;
use super::side::Side;
use crate::known::Known;

/// Why a question cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum QuestionError {
    #[error("{0:?} is neither an address nor namespace/name of a workload")]
    Party(String),
    #[error("{0:?} is no protocol: ask for tcp, udp, sctp or icmp")]
    Protocol(String),
    #[error("{0} is no port: ask for 1 to 65535")]
    Port(u32),
}

/// One end, as the operator named it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Party {
    Address(IpAddr),
    Workload(WorkloadName),
}

/// A connection that somebody might open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    source: Party,
    destination: Party,
    /// ICMP stands for the one of the addresses' family.
    protocol: Protocol,
    /// 0 where the protocol has none.
    pub(crate) port: u16,
}

impl Question {
    pub(crate) fn parse(request: &ExplainRequest) -> Result<Self, QuestionError> {
        let protocol = match request.protocol.to_ascii_lowercase().as_str() {
            "" | "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            "icmp" | "icmpv6" => Protocol::Icmp,
            _ => return Err(QuestionError::Protocol(request.protocol.clone())),
        };
        let port = match u16::try_from(request.port) {
            Ok(_) if !protocol.has_ports() => 0,
            Ok(port) if port > 0 => port,
            Ok(_) | Err(_) => return Err(QuestionError::Port(request.port)),
        };
        Ok(Self {
            source: party(&request.source)?,
            destination: party(&request.destination)?,
            protocol,
            port,
        })
    }

    /// IP protocol number for a family.
    pub(crate) fn protocol(&self, address: IpAddr) -> u8 {
        match self.protocol {
            Protocol::Icmp | Protocol::IcmpV6 if address.is_ipv6() => Protocol::IcmpV6.number(),
            Protocol::IcmpV6 => Protocol::Icmp.number(),
            other @ (Protocol::Tcp | Protocol::Udp | Protocol::Sctp | Protocol::Icmp) => other.number(),
        }
    }

    /// `port 80/TCP`, or the protocol alone.
    pub(crate) fn traffic(&self) -> String {
        if self.protocol.has_ports() {
            format!("port {}/{}", self.port, self.protocol.name())
        } else {
            self.protocol.name().to_owned()
        }
    }

    /// Both ends with addresses of one family.
    pub(crate) fn sides<'a>(
        &self,
        known: &'a Known,
        maps: &impl Maps,
    ) -> Result<(Side<'a>, Side<'a>), String> {
        let sources = addresses(&self.source, known)?;
        let destinations = addresses(&self.destination, known)?;
        let pairs = sources
            .iter()
            .flat_map(|source| destinations.iter().map(move |other| (*source, *other)));
        let pair = pairs
            .into_iter()
            .find(|(source, other)| source.is_ipv4() == other.is_ipv4());
        let (source, destination) = pair.ok_or_else(|| {
            format!(
                "{} and {} have no addresses of one family",
                name(&self.source),
                name(&self.destination)
            )
        })?;
        Ok((
            Side::new(source, known, maps),
            Side::new(destination, known, maps),
        ))
    }
}

fn party(text: &str) -> Result<Party, QuestionError> {
    if let Ok(address) = text.parse() {
        return Ok(Party::Address(address));
    }
    let name = text.split_once('/').and_then(|(namespace, name)| {
        Some(WorkloadName {
            namespace: Namespace::parse(namespace).ok()?,
            name: Name::parse(name).ok()?,
        })
    });
    name.map(Party::Workload)
        .ok_or_else(|| QuestionError::Party(text.to_owned()))
}

fn name(party: &Party) -> String {
    match party {
        Party::Address(address) => address.to_string(),
        Party::Workload(name) => name.to_string(),
    }
}

fn addresses(party: &Party, known: &Known) -> Result<Vec<IpAddr>, String> {
    let wanted = match party {
        Party::Address(address) => return Ok(vec![*address]),
        Party::Workload(name) => name,
    };
    let Some(report) = known
        .desired
        .reports
        .iter()
        .find(|report| report.workload == *wanted)
    else {
        return Err(format!("there is no workload {wanted}"));
    };
    if !report.addresses.is_empty() {
        return Ok(sorted(report));
    }
    let contested = contested(report, known);
    if contested.is_empty() {
        Err(unbelieved(report, known))
    } else {
        Ok(contested)
    }
}

/// The addresses that it claims and others, too.
fn contested(report: &EndpointReport, known: &Known) -> Vec<IpAddr> {
    let claimed = known.workload(&report.workload).map(Workload::addresses);
    let addresses = claimed.unwrap_or_default().iter();
    let contested = addresses.filter(|address| known.desired.is_contested(address.abi()));
    contested.map(|address| address.ip()).collect()
}

fn sorted(report: &EndpointReport) -> Vec<IpAddr> {
    // The wrapped type orders IPv4 before IPv6.
    let mut addresses: Vec<_> = report.addresses.iter().map(|address| address.ip()).collect();
    addresses.sort_unstable();
    addresses
}

fn unbelieved(report: &EndpointReport, known: &Known) -> String {
    let name = report.workload.to_string();
    let mut problems = known.desired.problems.iter().map(ToString::to_string);
    let why = problems
        .find(|problem| problem.contains(&name))
        .unwrap_or_else(|| report.state.to_string());
    format!("{name}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(source: &str, port: u32, protocol: &str) -> ExplainRequest {
        ExplainRequest {
            source: source.into(),
            destination: "shop/web".into(),
            port,
            protocol: protocol.into(),
        }
    }

    #[test]
    fn a_question_names_addresses_or_workloads() {
        assert!(Question::parse(&request("10.0.0.1", 80, "")).is_ok());
        assert!(Question::parse(&request("fd00::1", 80, "UDP")).is_ok());
        assert!(Question::parse(&request("shop/client", 80, "tcp")).is_ok());
        assert!(matches!(
            Question::parse(&request("client", 80, "tcp")),
            Err(QuestionError::Party(_))
        ));
        assert!(matches!(
            Question::parse(&request("shop/client", 80, "gre")),
            Err(QuestionError::Protocol(_))
        ));
        assert!(matches!(
            Question::parse(&request("shop/client", 0, "tcp")),
            Err(QuestionError::Port(0))
        ));
        assert!(matches!(
            Question::parse(&request("shop/client", 70_000, "tcp")),
            Err(QuestionError::Port(_))
        ));
        assert!(Question::parse(&request("shop/client", 0, "icmp")).is_ok());
    }

    #[test]
    fn icmp_means_the_one_of_the_family() {
        let question = Question::parse(&request("shop/client", 0, "icmp")).unwrap();
        assert_eq!(question.protocol("10.0.0.1".parse().unwrap()), 1);
        assert_eq!(question.protocol("fd00::1".parse().unwrap()), 58);
    }
}
