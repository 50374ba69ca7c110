//! SUBSCRIBE and UNSUBSCRIBE: what the session judges itself, and what it waits for.

use std::collections::VecDeque;

use revoq_mqtt::{
    AckProperties, Packet, PacketId, ReasonCode, SubAck, Subscribe, Subscription, TopicFilter, UnsubAck,
    Unsubscribe,
};

use super::Core;
use super::connected::Connected;
use crate::{Config, Error, Output, StreamId, SubscriptionTerms};

/// Requests that the driver has not answered, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: VecDeque<Request>,
}

#[derive(Debug)]
struct Request {
    stream: StreamId,
    packet_id: PacketId,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Subscribe(Vec<Verdict>),
    /// So many filters.
    Unsubscribe(usize),
}

/// What becomes of one filter of a SUBSCRIBE.
#[derive(Debug)]
enum Verdict {
    /// The session refuses it.
    Refused(ReasonCode),
    /// The driver decides. `fresh` is the filter if the client was not subscribed to it before.
    Asked { fresh: Option<TopicFilter> },
}

impl Requests {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A stream is closed: nobody waits for the answers.
    pub(super) fn forget(&mut self, stream: StreamId) {
        self.waiting.retain(|request| request.stream != stream);
    }

    /// The oldest request of this identifier: a client may reuse one only after the answer, so there is one.
    fn take(
        &mut self,
        stream: StreamId,
        packet_id: PacketId,
        of_kind: impl Fn(&Kind) -> bool,
    ) -> Option<Kind> {
        let found = |request: &Request| {
            request.stream == stream && request.packet_id == packet_id && of_kind(&request.kind)
        };
        let index = self.waiting.iter().position(found)?;
        self.waiting.remove(index).map(|request| request.kind)
    }
}

impl Connected {
    pub(super) fn handle_subscribe(&mut self, core: &mut Core, subscribe: Subscribe) -> Result<(), Error> {
        let Subscribe { packet_id, subscription_id, subscriptions, .. } = subscribe;
        let stream = core.outbound.stream();
        let mut verdicts = Vec::with_capacity(subscriptions.len());
        let mut filters = Vec::with_capacity(subscriptions.len());
        for Subscription { filter, mut options } in subscriptions {
            if let Some(reason) = self.objection(&filter, subscription_id.is_some(), &core.config) {
                if matches!(reason, ReasonCode::QuotaExceeded | ReasonCode::TopicFilterInvalid) {
                    core.outbound.count_refused_filter();
                }
                verdicts.push(Verdict::Refused(reason));
                continue;
            }
            let filter = filter.detached();
            let fresh = self.subscriptions.insert(filter.clone()).then(|| filter.clone());
            verdicts.push(Verdict::Asked { fresh });
            options.qos = options.qos.min(core.config.qos_max);
            filters.push((filter, SubscriptionTerms { options, id: subscription_id, stream }));
        }
        if filters.is_empty() {
            return self.answer_subscribe(core, packet_id, verdicts, Vec::new());
        }
        self.requests.waiting.push_back(Request { stream, packet_id, kind: Kind::Subscribe(verdicts) });
        core.outputs.push_back(Output::Subscribe { stream, packet_id, filters });
        Ok(())
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        core: &mut Core,
        unsubscribe: Unsubscribe,
    ) -> Result<(), Error> {
        let Unsubscribe { packet_id, filters, .. } = unsubscribe;
        for filter in &filters {
            self.subscriptions.remove(filter);
        }
        let (stream, kind) = (core.outbound.stream(), Kind::Unsubscribe(filters.len()));
        self.requests.waiting.push_back(Request { stream, packet_id, kind });
        core.outputs.push_back(Output::Unsubscribe { stream, packet_id, filters });
        Ok(())
    }

    /// The driver's answer to [`Output::Subscribe`].
    pub(super) fn subscribed(
        &mut self,
        core: &mut Core,
        packet_id: PacketId,
        reasons: Vec<ReasonCode>,
    ) -> Result<(), Error> {
        match self.requests.take(core.outbound.stream(), packet_id, |kind| matches!(kind, Kind::Subscribe(_)))
        {
            Some(Kind::Subscribe(verdicts)) => self.answer_subscribe(core, packet_id, verdicts, reasons),
            _ => Ok(()),
        }
    }

    /// The driver's answer to [`Output::Unsubscribe`].
    pub(super) fn unsubscribed(
        &mut self,
        core: &mut Core,
        packet_id: PacketId,
        reasons: Vec<ReasonCode>,
    ) -> Result<(), Error> {
        match self
            .requests
            .take(core.outbound.stream(), packet_id, |kind| matches!(kind, Kind::Unsubscribe(_)))
        {
            Some(Kind::Unsubscribe(filters)) if filters == reasons.len() => {
                let properties = AckProperties::default();
                core.outbound.answer(&Packet::UnsubAck(UnsubAck { packet_id, reasons, properties }))
            }
            Some(_) => Err(Error::Driver("answered another number of filters than was asked")),
            None => Ok(()),
        }
    }

    /// What speaks against a filter without asking anybody.
    fn objection(&self, filter: &TopicFilter, has_id: bool, config: &Config) -> Option<ReasonCode> {
        if has_id && !config.subscription_id_available {
            return Some(ReasonCode::SubscriptionIdentifiersNotSupported);
        }
        if filter.has_wildcard() && !config.wildcard_subscription_available {
            return Some(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        if filter.is_shared() && !config.shared_subscription_available {
            return Some(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if filter.levels().count() > config.topic_levels_max {
            return Some(ReasonCode::TopicFilterInvalid);
        }
        let full = self.subscriptions.len() >= config.subscriptions_max;
        (full && !self.subscriptions.contains(filter)).then_some(ReasonCode::QuotaExceeded)
    }

    /// Joins the session's own refusals and the driver's answers to one SUBACK.
    fn answer_subscribe(
        &mut self,
        core: &mut Core,
        packet_id: PacketId,
        verdicts: Vec<Verdict>,
        answers: Vec<ReasonCode>,
    ) -> Result<(), Error> {
        let mut answers = answers.into_iter();
        let mut reasons = Vec::with_capacity(verdicts.len());
        for verdict in verdicts {
            reasons.push(match verdict {
                Verdict::Refused(reason) => reason,
                Verdict::Asked { fresh } => {
                    let wrong = Error::Driver("answered fewer filters than were asked");
                    let reason = answers.next().ok_or(wrong)?;
                    if let Some(filter) = fresh.filter(|_| reason.is_error()) {
                        self.subscriptions.remove(&filter);
                    }
                    reason
                }
            });
        }
        let properties = AckProperties::default();
        core.outbound.answer(&Packet::SubAck(SubAck { packet_id, reasons, properties }))
    }
}
