//! How authorities come and go, on the command line.

use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use signet_ca::Rotation;

/// Hours of a year.
const YEAR: u64 = 365 * 24;

#[derive(Debug, Args)]
pub(crate) struct RotationArgs {
    /// How long a new X.509 authority's certificate is good, as in 8760h or 365d. Another authority takes over after half of it.
    #[arg(long, value_name = "DURATION", default_value = "365d", value_parser = life)]
    authority_life: Duration,

    /// How long a key may sign JWT-SVIDs at most, as in 90d. Another one takes over after half of it.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = life)]
    jwt_key_life: Duration,

    /// How long an authority is published before it signs, so that those who poll the bundle every five minutes have it.
    #[arg(long, value_name = "DURATION", default_value = "25m", value_parser = interval)]
    publish_interval: Duration,

    /// How long the authority of a CA below this one (`--upstream signet`) is good at most, as in 720h or 30d.
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = life)]
    downstream_life: Duration,

    /// Leave all steps of the authorities' lives to the operator (`signet ca authority`).
    #[arg(long)]
    manual_rotation: bool,

    /// Issue WIT-SVIDs (tokens that are bound to a key of their workload) to nodes that ask for them. An experiment: SPIFFE's
    /// documents of it may change. All replicas need the same.
    #[arg(long)]
    experimental_wit_svid: bool,
}

impl RotationArgs {
    pub(crate) fn rotation(&self) -> Rotation {
        Rotation {
            authority_life: self.authority_life,
            jwt_key_life: self.jwt_key_life,
            publish_interval: self.publish_interval,
            automatic: !self.manual_rotation,
            downstream_life: self.downstream_life,
            wit_svids: self.experimental_wit_svid,
        }
    }
}

fn life(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_mins(1)..=Duration::from_hours(10 * YEAR);
    let parsed = duration(text).filter(|life| bounds.contains(life));
    parsed.ok_or_else(|| "authorities live 1m to 3650d; write it as 12h or 365d".to_owned())
}

fn interval(text: &str) -> Result<Duration, String> {
    let parsed = duration(text).filter(|interval| *interval <= Duration::from_hours(YEAR));
    parsed.ok_or_else(|| "write it as 30s, 25m or 2h".to_owned())
}

/// Days are not among the units of a [`SignedDuration`], as they are not always of one length. These are.
fn duration(text: &str) -> Option<Duration> {
    if let Some(days) = text.strip_suffix('d')
        && let Ok(days) = days.parse::<u32>()
    {
        return Some(Duration::from_hours(24) * days);
    }
    let parsed: SignedDuration = text.parse().ok()?;
    Duration::try_from(parsed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_written_in_hours_or_days() {
        assert_eq!(life("365d"), Ok(Duration::from_hours(8760)));
        assert_eq!(life("12h"), Ok(Duration::from_hours(12)));
        assert_eq!(interval("0s"), Ok(Duration::ZERO));
        for bad in ["", "d", "-1d", "59s", "3651d", "99999999999d", "1"] {
            assert!(life(bad).is_err(), "{bad}");
        }
        assert!(interval("9000h").is_err() && interval("-1m").is_err());
    }
}
