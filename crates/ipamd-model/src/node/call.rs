//! EC2 operations and metadata reads as a step makes them: failures, latencies, retries.

use super::effect::{Effect, Retry, Script};
use super::state::Node;
use crate::ec2::{Cloud, ImdsRead};
use crate::metrics::Call;
use cni_types::ec2::{Ec2Code, Ec2Operation};

impl Node {
    /// One EC2 operation: the cloud may fail it, else `act` does it and may fail itself.
    pub(super) fn call<T>(
        &mut self,
        script: &mut Script,
        op: Ec2Operation,
        cloud: &mut dyn Cloud,
        act: impl FnOnce(&mut Self, &mut dyn Cloud) -> Result<T, Ec2Code>,
    ) -> Result<T, Ec2Code> {
        let result = match cloud.fault(op, script.at_ms) {
            Some(code) => Err(code),
            None => act(self, cloud),
        };
        let code = result.as_ref().err().copied();
        let ms = self.latency_ms(op, code);
        script.at_ms += ms;
        let (code, ms) = (code.map(Ec2Code::name), u32::try_from(ms).unwrap_or(u32::MAX));
        script.push(Effect::Call(Call { op, code, ms }));
        result
    }

    /// An operation of which only success or failure matters.
    pub(super) fn plain_call(
        &mut self,
        script: &mut Script,
        op: Ec2Operation,
        cloud: &mut dyn Cloud,
    ) -> Result<(), Ec2Code> {
        self.call(script, op, cloud, |_, _| Ok(()))
    }

    /// An operation tried again with growing pauses; the last error stands.
    pub(super) fn retried(
        &mut self,
        script: &mut Script,
        op: Ec2Operation,
        retry: Retry,
        cloud: &mut dyn Cloud,
        mut act: impl FnMut(u8) -> Result<(), Ec2Code>,
    ) -> Result<(), Ec2Code> {
        let mut pause_ms = retry.first_ms;
        let mut last = Ok(());
        for attempt in 0..retry.tries {
            last = self.call(script, op, cloud, |_, _| act(attempt));
            if last.is_ok() || last == Err(Ec2Code::InvalidNetworkInterfaceIdNotFound) || attempt + 1 == retry.tries {
                break;
            }
            script.at_ms += pause_ms + self.chooser.random.between(0, pause_ms * retry.jitter_percent / 100);
            pause_ms = (pause_ms * 2).min(retry.limit_ms);
        }
        last
    }

    /// Whole milliseconds around the operation's usual time. Server-side errors and silence cost the SDK's own three
    /// attempts; other errors come back sooner than a success.
    pub(super) fn latency_ms(&mut self, op: Ec2Operation, code: Option<Ec2Code>) -> i64 {
        let typical = op.typical_ms();
        match code {
            None => self.chooser.random.between(typical * 55 / 100, typical * 145 / 100),
            Some(Ec2Code::NoAnswer) => 30_000 + self.chooser.random.between(500, 3_500),
            Some(Ec2Code::RequestLimitExceeded | Ec2Code::InternalError | Ec2Code::Unavailable) => {
                typical + self.chooser.random.between(500, 3_500)
            }
            Some(_) => self.chooser.random.between(typical * 27 / 100, typical * 71 / 100).max(1),
        }
    }

    /// Reads IMDS; a failure that the agent counts is counted.
    pub(super) fn imds(&mut self, script: &mut Script, read: ImdsRead, cloud: &mut dyn Cloud) -> bool {
        self.metrics.imds_reads += 1;
        let works = !cloud.imds_fault(read, script.at_ms);
        if let Some(api) = read.counted_as(self.metrics.ipv6).filter(|_| !works) {
            script.push(Effect::ApiError(api, "IMDSRequestError"));
        }
        works
    }

    /// The whole text of an SDK error, as one label of the agent shows it.
    pub(super) fn error_text(&mut self, op: Ec2Operation, code: Ec2Code) -> String {
        let (name, status, code) = (op.name(), code.http_status(), code.name());
        let (high, low) = (self.chooser.random.bits(), self.chooser.random.bits());
        format!(
            "operation error EC2: {name}, https response error StatusCode: {status}, RequestID: \
             {:08x}-{:04x}-4{:03x}-9{:03x}-{:012x}, api error {code}: simulated failure",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff,
        )
    }
}
