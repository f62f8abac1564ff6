//! A Grafana dashboard as JSON: its panels, how they are laid out, its variables.

use serde_json::{Value, json};

/// Grafana lays panels out on 24 columns.
const COLUMNS: u32 = 24;

/// A dashboard, laid out panel after panel from the top left.
pub(super) struct Board {
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) variables: Vec<Value>,
    pub(super) panels: Vec<Panel>,
}

/// A panel: what it is called, how it is drawn, what it asks for.
pub(super) struct Panel {
    pub(super) kind: &'static str,
    pub(super) title: &'static str,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) options: Value,
    pub(super) defaults: Value,
    /// Expressions with their legends.
    pub(super) queries: Vec<(String, &'static str)>,
    /// The answer at the end of the range only.
    pub(super) instant: bool,
}

impl Panel {
    /// One number; eight of them are a row.
    pub(super) fn number(title: &'static str, unit: &str, expr: String) -> Self {
        Self {
            options: json!({ "reduceOptions": { "calcs": ["lastNotNull"] } }),
            ..Self::new("stat", title, COLUMNS / 8, 4, unit, vec![(expr, "")])
        }
    }

    /// Lines over time, half as wide as the board.
    pub(super) fn lines(title: &'static str, unit: &str, queries: Vec<(String, &'static str)>) -> Self {
        Self {
            options: json!({ "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi" } }),
            ..Self::new("timeseries", title, COLUMNS / 2, 8, unit, queries)
        }
    }

    /// One bar a series, as of now.
    pub(super) fn bars(title: &'static str, unit: &str, expr: String, legend: &'static str) -> Self {
        Self {
            options: json!({ "displayMode": "gradient", "orientation": "horizontal", "reduceOptions": { "calcs": ["lastNotNull"] } }),
            instant: true,
            ..Self::new("bargauge", title, COLUMNS / 2, 8, unit, vec![(expr, legend)])
        }
    }

    /// One row a series, coloured over time: a heat map by name.
    pub(super) fn rows(title: &'static str, unit: &str, expr: String, legend: &'static str) -> Self {
        let mut panel = Self::new("status-history", title, COLUMNS, 10, unit, vec![(expr, legend)]);
        panel.options = json!({ "rowHeight": 0.9, "showValue": "never", "legend": { "showLegend": false } });
        panel.defaults["color"] = json!({ "mode": "continuous-GrYlRd" });
        panel
    }

    pub(super) fn new(
        kind: &'static str,
        title: &'static str,
        width: u32,
        height: u32,
        unit: &str,
        queries: Vec<(String, &'static str)>,
    ) -> Self {
        let mut defaults = json!({ "unit": unit, "min": 0 });
        if unit == "percentunit" {
            defaults["max"] = json!(1);
            defaults["color"] = json!({ "mode": "thresholds" });
            defaults["thresholds"] = json!({ "mode": "absolute", "steps": [
                { "color": "green", "value": null }, { "color": "orange", "value": 0.85 }, { "color": "red", "value": 0.95 },
            ] });
        }
        Self { kind, title, width, height, options: json!({}), defaults, queries, instant: false }
    }

    /// What should be 0.
    pub(super) fn with_red_from(mut self, least: f64) -> Self {
        self.defaults["thresholds"] = json!({ "mode": "absolute", "steps": [
            { "color": "green", "value": null }, { "color": "red", "value": least },
        ] });
        self
    }

    /// High is good: coverage.
    pub(super) fn with_red_below(mut self, least: f64) -> Self {
        self.defaults["thresholds"] = json!({ "mode": "absolute", "steps": [
            { "color": "red", "value": null }, { "color": "green", "value": least },
        ] });
        self
    }

    pub(super) fn body(&self, id: u32, x: u32, y: u32) -> Value {
        let targets: Vec<Value> = (b'A'..)
            .zip(&self.queries)
            .map(|(letter, (expr, legend))| {
                json!({
                    "refId": char::from(letter).to_string(), "datasource": datasource(), "expr": expr,
                    "legendFormat": legend, "instant": self.instant, "range": !self.instant,
                })
            })
            .collect();
        json!({
            "id": id, "type": self.kind, "title": self.title, "datasource": datasource(),
            "gridPos": { "x": x, "y": y, "w": self.width, "h": self.height },
            "options": self.options,
            "fieldConfig": { "defaults": self.defaults, "overrides": [] },
            "targets": targets,
        })
    }
}

impl Board {
    pub(super) fn body(&self) -> Value {
        let mut variables = vec![json!({
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0,
        })];
        variables.extend(self.variables.iter().cloned());
        json!({
            "uid": self.uid, "title": self.title, "tags": ["kubernetes", "aws", "vpc-cni"],
            "schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1, "refresh": "1m", "timezone": "browser",
            "time": { "from": "now-6h", "to": "now" },
            "templating": { "list": variables },
            "panels": self.laid_out(),
        })
    }

    /// Left to right; a panel that does not fit begins a row.
    pub(super) fn laid_out(&self) -> Vec<Value> {
        let (mut x, mut y, mut row_height) = (0, 0, 0);
        let mut bodies = Vec::with_capacity(self.panels.len());
        for (id, panel) in (1_u32..).zip(&self.panels) {
            if x + panel.width > COLUMNS {
                (x, y, row_height) = (0, y + row_height, 0);
            }
            bodies.push(panel.body(id, x, y));
            x += panel.width;
            row_height = row_height.max(panel.height);
        }
        bodies
    }
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// A variable whose values are those of a label.
pub(super) fn label_values(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name, "label": label, "type": "query", "datasource": datasource(),
        "query": { "query": query, "refId": "variable" }, "refresh": 2, "sort": 1,
        "includeAll": true, "multi": true, "allValue": ".*", "current": { "text": "All", "value": "$__all" },
    })
}
