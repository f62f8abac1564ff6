//! What the helper concludes of simulated clusters, held against what the simulator knows to be true: pages are read, aggregated
//! and judged by the helper's own code, in this process and without sockets.

mod cells;
mod clusters;
mod pairs;
mod play;
mod quiet;
mod rows;
mod shown;
