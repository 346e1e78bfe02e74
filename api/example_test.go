package api_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/apitest"
)

// serve starts a server for an example. Elsewhere its address is that of ringfence serve.
func serve() (*api.Client, func()) {
	s, err := apitest.Start(apitest.Options{})
	if err != nil {
		panic(err)
	}
	return &api.Client{BaseURL: s.URL}, func() { _ = s.Close() }
}

// A signup is assessed before the account is made.
func Example() {
	c, stop := serve()
	defer stop()
	ctx := context.Background()

	a, err := c.Assess(ctx, api.AssessmentRequest{
		PhoneNumber: "+1 202 555 0143", Event: "signup", AccountID: "u_81", IP: "203.0.113.7",
	})
	if err != nil {
		panic(err) // decide for yourself what a signup without an assessment is worth
	}
	fmt.Println(a.Decision, a.Number.Region, a.Signals["signups_1h"])

	// Later, when the code from the message was typed in.
	o, err := c.Outcome(ctx, api.OutcomeRequest{AssessmentID: a.AssessmentID, Outcome: "verified"})
	if err != nil {
		panic(err)
	}
	fmt.Println("linked:", o.Linked)
	// Output:
	// allow US 1
	// linked: true
}

func ExampleClient_Assess_errors() {
	c, stop := serve()
	defer stop()

	_, err := c.Assess(context.Background(), api.AssessmentRequest{Event: "sign_up", IP: "localhost"})
	var answered *api.Error
	if errors.Is(err, api.ErrInvalid) && errors.As(err, &answered) {
		for _, field := range answered.Errors {
			fmt.Println(field.Pointer, field.Code)
		}
	}
	// Output:
	// /event unknown_value
	// /ip format
}

// Any number of events, in one stream.
func ExampleClient_AssessBatch() {
	c, stop := serve()
	defer stop()

	lines := func(yield func(api.BatchLine, error) bool) {
		for _, number := range []string{"+1 202 555 0143", "+1 202 555 0143", "+1 202 555 01"} {
			l := api.BatchLine{AssessmentRequest: api.AssessmentRequest{PhoneNumber: number, Event: "signup"}}
			if !yield(l, nil) {
				return
			}
		}
	}
	for answer, err := range c.AssessBatch(context.Background(), lines) {
		if err != nil {
			panic(err)
		}
		if err := answer.Err(); err != nil {
			fmt.Println(answer.Line, err)
			continue
		}
		fmt.Println(answer.Line, answer.Assessment.Number.Valid, answer.Assessment.Signals["signups_1h"])
	}
	// Output:
	// 1 true 1
	// 2 true 2
	// 3 false 0
}

func ExampleClient_Outcomes() {
	c, stop := serve()
	defer stop()
	ctx := context.Background()

	a, err := c.Assess(ctx, api.AssessmentRequest{PhoneNumber: "+1 202 555 0143", Event: "signup"})
	if err != nil {
		panic(err)
	}
	results, err := c.Outcomes(ctx, []api.OutcomeRequest{
		{AssessmentID: a.AssessmentID, Outcome: "abuse", Source: "chargeback"},
		{AssessmentID: "00000000000000000000000000", Outcome: "abuse"},
	})
	if err != nil {
		panic(err)
	}
	for _, r := range results {
		fmt.Println(r.Status, errors.Is(r.Err(), api.ErrUnknownAssessment))
	}
	// Output:
	// 200 false
	// 404 true
}

// Why an event was decided as it was, long after.
func ExampleClient_Assessment() {
	c, stop := serve()
	defer stop()
	ctx := context.Background()

	a, err := c.Assess(ctx, api.AssessmentRequest{PhoneNumber: "+44 7700 900", Event: "signup"})
	if err != nil {
		panic(err)
	}
	logged, err := c.Assessment(ctx, a.AssessmentID)
	if err != nil {
		panic(err)
	}
	for _, step := range logged.Reasons {
		fmt.Printf("%s %+d = %d\n", step.Code, step.Points, step.Total)
	}
	fmt.Println(logged.Decision, logged.Score, logged.Policy.Name)
	// Output:
	// NUMBER_INVALID +40 = 40
	// challenge 40 default
}

func ExampleClient_ImportEntries() {
	c, stop := serve()
	defer stop()
	ctx := context.Background()

	numbers := []string{"+1 202 555 0143", "+1 202 555 0144", "+1 202"}
	answer, err := c.ImportEntries(ctx, "disposable", func(yield func(api.ListEntry, error) bool) {
		for _, number := range numbers {
			if !yield(api.ListEntry{PhoneNumber: number, Reason: "feed"}, nil) {
				return
			}
		}
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(answer.Added, "added")
	for _, l := range answer.Lines {
		fmt.Println("line", l.Line, l.Code)
	}
	a, err := c.Assess(ctx, api.AssessmentRequest{PhoneNumber: numbers[0], Event: "signup"})
	if err != nil {
		panic(err)
	}
	fmt.Println(slices.ContainsFunc(a.Reasons, func(r api.Reason) bool { return r.Code == "LIST_DISPOSABLE" }))
	// Output:
	// 2 added
	// line 3 not_in_use
	// true
}
