//! The series of origins' addresses. In: what each origin counts of itself when the metrics are read. Out: gauges and a
//! counter by the origin's configured name; never an address, which is the origin's own affair.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// What is counted of the addresses of an origin.
#[derive(Clone, Debug, Default)]
pub struct OriginFigures {
    /// The origin's name.
    pub origin: String,
    /// Addresses by state.
    pub addresses: [(&'static str, u64); 3],
    /// Requests at this moment.
    pub in_flight: u64,
    /// Requests that wait for room.
    pub waiting: u64,
    /// How often an address was left out because of how requests went.
    pub ejections: u64,
}

/// Writes them.
pub(super) fn encode_addresses(
    encoder: &mut DescriptorEncoder<'_>,
    origins: &[OriginFigures],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "mediagate_origin_addresses",
        "Addresses of origins, by what is thought of them",
        None,
        MetricType::Gauge,
    )?;
    for figures in origins {
        for (state, count) in figures.addresses {
            let labels = [("origin", figures.origin.as_str()), ("state", state)];
            gauge(count).encode(family.encode_family(&labels)?)?;
        }
    }
    type Figure = fn(&OriginFigures) -> u64;
    let gauges: [(&str, &str, Figure); 2] = [
        ("mediagate_origin_in_flight", "Requests at origins", |figures| {
            figures.in_flight
        }),
        (
            "mediagate_origin_waiting",
            "Requests that wait for room at origins",
            |figures| figures.waiting,
        ),
    ];
    for (name, help, figure) in gauges {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for figures in origins {
            let labels = [("origin", figures.origin.as_str())];
            gauge(figure(figures)).encode(family.encode_family(&labels)?)?;
        }
    }
    let mut family = encoder.encode_descriptor(
        "mediagate_origin_ejections",
        "Times that an address was left out because it failed too often in a row",
        None,
        MetricType::Counter,
    )?;
    for figures in origins {
        let labels = [("origin", figures.origin.as_str())];
        ConstCounter::new(figures.ejections).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(count: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
}
