//! What is measured: each combination of shape, QoS, transport and pressure.

use clap::ValueEnum;
use serde::Serialize;

use super::Arguments;
use crate::load::Shape;
use crate::servers::Transport;

/// How hard the publishers push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Pressure {
    /// As fast as the window allows.
    Saturation,
    /// So many deliveries in a second.
    Rate,
}

/// One combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cell {
    pub(super) shape: Shape,
    pub(super) qos: u8,
    pub(super) transport: Transport,
    pub(super) pressure: Pressure,
}

/// All that are asked for.
pub(super) fn cells(arguments: &Arguments) -> Vec<Cell> {
    let mut cells = Vec::new();
    for pressure in &arguments.pressures {
        for transport in &arguments.transports {
            for shape in &arguments.shapes {
                for qos in &arguments.qos {
                    let (shape, qos, transport, pressure) = (*shape, *qos, *transport, *pressure);
                    cells.push(Cell { shape, qos, transport, pressure });
                }
            }
        }
    }
    cells
}

impl Cell {
    /// As a part of client identifiers and topics.
    pub(super) fn name(self) -> String {
        format!("{self}").replace([' ', ','], "")
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shape = match self.shape {
            Shape::FanOut => "fan-out",
            Shape::FanIn => "fan-in",
            Shape::Pairs => "pairs",
        };
        let pressure = match self.pressure {
            Pressure::Saturation => "saturation",
            Pressure::Rate => "rate",
        };
        write!(f, "{shape}, QoS {}, {}, {pressure}", self.qos, self.transport)
    }
}
