// Package report shows a placement to people: trace.json, a timeline for
// chrome://tracing and Perfetto, and report.html, one page that needs no network.
//
// All output is a function of its arguments: the same placement gives the same bytes.
package report
