// Package tracing sends a span for every request to an OpenTelemetry collector, for those who
// want that: ringfence serve starts it only when it is given an address. It is the only
// package that imports OpenTelemetry.
//
// A span has the method, the route with its parameters unfilled, the status and the time, and is
// part of the caller's trace when the request came with a traceparent (W3C Trace Context). Nothing
// in it says who or which number it was about.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer sends spans. It is safe for concurrent use.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// Start begins to send to a collector at an address such as http://127.0.0.1:4318, by OTLP over
// HTTP with protobuf, below its path /v1/traces. Spans that cannot be sent are dropped, and log says so.
func Start(ctx context.Context, endpoint, version string, log *slog.Logger) (*Tracer, error) {
	to, err := url.Parse(endpoint)
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Host == "" {
		return nil, errors.New("the collector's address has to be like http://127.0.0.1:4318")
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(to.JoinPath("v1/traces").String()))
	if err != nil {
		return nil, fmt.Errorf("cannot trace: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) { // whose text may hold what a collector answered
		log.Warn("spans cannot be sent to the collector")
	}))
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(resource.NewSchemaless(
		attribute.String("service.name", "ringfence"), attribute.String("service.version", version))))
	return &Tracer{provider: provider, tracer: provider.Tracer("github.com/ringfence/ringfence/api/server")}, nil
}

// Span begins the span of a request and returns what ends it. traceparent is the request's header, "" for
// none.
func (t *Tracer) Span(ctx context.Context, traceparent, method, route string) (context.Context, func(status int)) {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
	ctx, span := t.tracer.Start(ctx, method+" "+route, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", method), attribute.String("http.route", route)))
	return ctx, func(status int) {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Close sends what is left, until ctx ends.
func (t *Tracer) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }
