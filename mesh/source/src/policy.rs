//! From a written policy to one that is always valid.

use signet_policy::{
    Action, Authentication, Effect, Entity, Name, Namespace, OnFailure, Peer, Policy, PolicyName, PortRange,
    Protocol, Rule, Traffic,
};
use signet_spiffe::SpiffeId;

use crate::at::{At, Place};
use crate::convert::Converter;
use crate::field::Field;
use crate::schema::{
    ActionSpec, AuthenticationSpec, EgressRule, EntitySpec, IngressRule, OnFailureSpec, PeerSpec,
    PolicyDocument, PortSpec, ProtocolSpec, WorkloadPeer,
};

pub(crate) fn policy(document: &PolicyDocument, to: &mut Converter<'_>) -> Option<Policy> {
    let metadata = to.metadata(&document.metadata);
    let namespace = metadata.as_ref().map(|(namespace, ..)| namespace);
    let written = &document.spec.value;
    let spec = Field::root("spec");
    let selector_field = spec.name("endpointSelector");
    let selector = to.labels(
        selector_field.name("matchLabels"),
        &written.endpoint_selector.match_labels,
    );
    if written.ingress.is_none() && written.egress.is_none() {
        let message = "has no effect: write `ingress` or `egress` (`[]` to allow nothing)";
        to.error(spec, document.spec.place, message);
    }
    let ingress = rules(written.ingress.as_deref(), spec.name("ingress"), namespace, to);
    let egress = rules(written.egress.as_deref(), spec.name("egress"), namespace, to);
    let (namespace, name, _) = metadata?;
    Some(Policy {
        name: PolicyName { namespace, name },
        selector: selector?,
        ingress: ingress.ok()?,
        egress: egress.ok()?,
    })
}

/// Something was wrong, and was noted.
struct Wrong;

/// What rules of both directions have in common.
struct Written<'a> {
    peers: &'a [At<PeerSpec>],
    peers_field: &'static str,
    ports: &'a [At<PortSpec>],
    action: ActionSpec,
    authentication: AuthenticationSpec,
    on_failure: OnFailureSpec,
}

impl<'a> From<&'a IngressRule> for Written<'a> {
    fn from(rule: &'a IngressRule) -> Self {
        Self {
            peers: &rule.from,
            peers_field: "from",
            ports: &rule.ports,
            action: rule.action,
            authentication: rule.authentication,
            on_failure: rule.on_failure,
        }
    }
}

impl<'a> From<&'a EgressRule> for Written<'a> {
    fn from(rule: &'a EgressRule) -> Self {
        Self {
            peers: &rule.to,
            peers_field: "to",
            ports: &rule.ports,
            action: rule.action,
            authentication: rule.authentication,
            on_failure: rule.on_failure,
        }
    }
}

/// The rules of a direction: none where none are written, an error where some are wrong (which was noted).
fn rules<'a, R>(
    written: Option<&'a [At<R>]>,
    field: Field<'_>,
    namespace: Option<&Namespace>,
    to: &mut Converter<'_>,
) -> Result<Option<Vec<Rule>>, Wrong>
where
    Written<'a>: From<&'a R>,
{
    let Some(written) = written else { return Ok(None) };
    // All are looked at before the first bad one ends it.
    let rules: Vec<_> = written
        .iter()
        .enumerate()
        .map(|(index, at)| {
            rule(
                &Written::from(&at.value),
                at.place,
                field.index(index),
                namespace,
                to,
            )
        })
        .collect();
    rules.into_iter().collect::<Option<_>>().map(Some).ok_or(Wrong)
}

fn rule(
    written: &Written<'_>,
    place: Place,
    field: Field<'_>,
    namespace: Option<&Namespace>,
    to: &mut Converter<'_>,
) -> Option<Rule> {
    let peers_field = field.name(written.peers_field);
    let peers: Vec<_> = written
        .peers
        .iter()
        .enumerate()
        .map(|(index, at)| peer(&at.value, at.place, peers_field.index(index), namespace, to))
        .collect();
    refuse_unprovable(written, peers_field, to);
    let ports_field = field.name("ports");
    let traffic: Vec<_> = written
        .ports
        .iter()
        .enumerate()
        .map(|(index, at)| traffic(&at.value, at.place, ports_field.index(index), to))
        .collect();
    let effect = to.take(
        field,
        place,
        Effect::with(
            action(written.action),
            authentication(written.authentication),
            on_failure(written.on_failure),
        ),
    );
    let peers = peers.into_iter().collect::<Option<_>>()?;
    let traffic = traffic.into_iter().collect::<Option<_>>()?;
    to.take(field, place, Rule::new(peers, traffic, effect?))
}

/// Nobody is the ingress gateway, so a rule that asks it for a proof would wait for ever for somebody to speak of.
fn refuse_unprovable(written: &Written<'_>, field: Field<'_>, to: &mut Converter<'_>) {
    match written.authentication {
        AuthenticationSpec::Required => {}
        AuthenticationSpec::Disabled | AuthenticationSpec::AlwaysFail => return,
    }
    for (index, at) in written.peers.iter().enumerate() {
        if matches!(at.value.entity, Some(EntitySpec::Ingress)) {
            let message = "the ingress gateway can prove nothing: this version has none with an SVID of its own; name the proxy that \
                           takes connections in by `workload` or `spiffeId`, as any other workload, or leave out \
                           `authentication: required` here";
            to.error(field.index(index).name("entity"), at.place, message);
        }
    }
}

fn peer(
    written: &PeerSpec,
    place: Place,
    field: Field<'_>,
    namespace: Option<&Namespace>,
    to: &mut Converter<'_>,
) -> Option<Peer> {
    match written {
        PeerSpec {
            workload: Some(workload),
            spiffe_id: None,
            entity: None,
            cidr: None,
        } => workload_peer(workload, field.name("workload"), namespace, to),
        PeerSpec {
            workload: None,
            spiffe_id: Some(id),
            entity: None,
            cidr: None,
        } => to
            .parse(field.name("spiffeId"), id, SpiffeId::parse)
            .map(Peer::SpiffeId),
        PeerSpec {
            workload: None,
            spiffe_id: None,
            entity: Some(entity),
            cidr: None,
        } => Some(Peer::Entity(self::entity(*entity))),
        PeerSpec {
            workload: None,
            spiffe_id: None,
            entity: None,
            cidr: Some(cidr),
        } => {
            let message = "peers by address are not supported in this version: write `entity: world` for everyone \
                           outside the cluster";
            to.error(field.name("cidr"), cidr.place, message);
            None
        }
        PeerSpec { .. } => {
            to.error(
                field,
                place,
                "write exactly one of `workload`, `spiffeId` and `entity`",
            );
            None
        }
    }
}

fn workload_peer(
    written: &WorkloadPeer,
    field: Field<'_>,
    namespace: Option<&Namespace>,
    to: &mut Converter<'_>,
) -> Option<Peer> {
    let service_account = to.parse(
        field.name("serviceAccount"),
        &written.service_account,
        Name::parse,
    );
    let namespace = match &written.namespace {
        Some(text) => to.parse(field.name("namespace"), text, Namespace::parse),
        None => namespace.cloned(),
    };
    Some(Peer::Workload {
        namespace: namespace?,
        service_account: service_account?,
    })
}

fn traffic(written: &PortSpec, place: Place, field: Field<'_>, to: &mut Converter<'_>) -> Option<Traffic> {
    let ports = match (&written.port, &written.end_port) {
        (None, None) => None,
        (None, Some(last)) => {
            to.error(
                field.name("endPort"),
                last.place,
                "needs `port`, the first port of the range",
            );
            return None;
        }
        (Some(only), None) => Some(to.take(field.name("port"), only.place, PortRange::single(only.value))?),
        (Some(first), Some(last)) => Some(to.take(
            field.name("endPort"),
            last.place,
            PortRange::new(first.value, last.value),
        )?),
    };
    to.take(field, place, Traffic::new(protocol(written.protocol), ports))
}

const fn protocol(written: ProtocolSpec) -> Option<Protocol> {
    match written {
        ProtocolSpec::Tcp => Some(Protocol::Tcp),
        ProtocolSpec::Udp => Some(Protocol::Udp),
        ProtocolSpec::Sctp => Some(Protocol::Sctp),
        ProtocolSpec::Icmp => Some(Protocol::Icmp),
        ProtocolSpec::IcmpV6 => Some(Protocol::IcmpV6),
        ProtocolSpec::Any => None,
    }
}

const fn entity(written: EntitySpec) -> Entity {
    match written {
        EntitySpec::All => Entity::All,
        EntitySpec::World => Entity::World,
        EntitySpec::Host => Entity::Host,
        EntitySpec::RemoteNode => Entity::RemoteNode,
        EntitySpec::Unmanaged => Entity::Unmanaged,
        EntitySpec::Ingress => Entity::Ingress,
        EntitySpec::Cluster => Entity::Cluster,
    }
}

const fn action(written: ActionSpec) -> Action {
    match written {
        ActionSpec::Allow => Action::Allow,
        ActionSpec::Deny => Action::Deny,
    }
}

const fn authentication(written: AuthenticationSpec) -> Authentication {
    match written {
        AuthenticationSpec::Disabled => Authentication::Disabled,
        AuthenticationSpec::Required => Authentication::Required,
        AuthenticationSpec::AlwaysFail => Authentication::AlwaysFail,
    }
}

const fn on_failure(written: OnFailureSpec) -> OnFailure {
    match written {
        OnFailureSpec::Drop => OnFailure::Drop,
        OnFailureSpec::Reject => OnFailure::Reject,
    }
}
