package main

import (
	"sort"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

type metricsChange struct {
	Changed map[string]float64 `json:"changed"`
	Gone    []string           `json:"gone"`
}

// metricsView remembers what it has shown of a registry, so that it shows changes.
type metricsView struct {
	registry prometheus.Gatherer
	// base is subtracted from counters: their values when the history began.
	base  map[string]float64
	shown map[string]float64
}

// restart begins a history: counters count from here.
func (v *metricsView) restart() {
	v.base = nil
	v.base = v.gather(true)
}

func (v *metricsView) changes() metricsChange {
	now := v.gather(false)
	change := metricsChange{Changed: map[string]float64{}, Gone: []string{}}
	for name, value := range now {
		if shown, known := v.shown[name]; !known || shown != value {
			change.Changed[name] = value
		}
	}
	for name := range v.shown {
		if _, there := now[name]; !there {
			change.Gone = append(change.Gone, name)
		}
	}
	sort.Strings(change.Gone)
	v.shown = now
	return change
}

func (v *metricsView) gather(countersOnly bool) map[string]float64 {
	families, err := v.registry.Gather()
	if err != nil {
		fatal("the metrics cannot be gathered: %v", err)
	}
	values := map[string]float64{}
	for _, family := range families {
		name := family.GetName()
		if !strings.HasPrefix(name, "awscni_") {
			continue
		}
		for _, metric := range family.Metric {
			labels := labelText(metric.Label)
			switch {
			case metric.Counter != nil:
				values[name+labels] = metric.Counter.GetValue() - v.base[name+labels]
			case countersOnly:
			case metric.Gauge != nil:
				values[name+labels] = metric.Gauge.GetValue()
			case metric.Summary != nil:
				values[name+"_count"+labels], values[name+"_sum"+labels] = float64(metric.Summary.GetSampleCount()), metric.Summary.GetSampleSum()
			case metric.Histogram != nil:
				values[name+"_count"+labels], values[name+"_sum"+labels] = float64(metric.Histogram.GetSampleCount()), metric.Histogram.GetSampleSum()
			}
		}
	}
	return values
}

// labelText is {a="b",…} as on the page; the registry sorts labels by name.
func labelText(labels []*dto.LabelPair) string {
	if len(labels) == 0 {
		return ""
	}
	parts := make([]string, 0, len(labels))
	for _, label := range labels {
		parts = append(parts, label.GetName()+"="+strconv.Quote(label.GetValue()))
	}
	return "{" + strings.Join(parts, ",") + "}"
}
