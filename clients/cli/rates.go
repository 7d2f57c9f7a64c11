package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

// Rates and ages. The broker keeps counts and no rates: two looks at the counts, some time apart,
// give them. The age of a message is by the time that its producer has given it, and by the clock
// of this machine.

// describeInterval is the default of commands that show a few things.
const describeInterval = time.Second

// intervalFlag says how far apart two looks are.
func intervalFlag(apart time.Duration) cli.Flag {
	return &cli.DurationFlag{Name: "interval", Value: apart, Usage: "look twice, so far apart, and show rates; 0: look once"}
}

// ageFlag is an option of commands that list many things: each age costs a question.
func ageFlag() cli.Flag {
	return &cli.BoolFlag{Name: "oldest", Usage: "show the age of the oldest message"}
}

// looks are what two looks have found. Without a first one, apart is 0.
type looks[T any] struct {
	first, last T
	apart       time.Duration
}

// lookTwice looks, and once more after --interval, each time within the time-out.
func lookTwice[T any](c *cli.Context, look func(ctx context.Context) (T, error)) (l looks[T], err error) {
	once := func() (T, time.Time, error) {
		ctx, cancel := limit(c)
		defer cancel()
		v, err := look(ctx)
		return v, time.Now(), err
	}
	interval := c.Duration("interval")
	if interval < 0 {
		return l, badUsage("--interval is %v; it cannot be negative", interval)
	}
	var began, now time.Time
	if interval > 0 {
		if l.first, began, err = once(); err != nil {
			return l, err
		}
		select {
		case <-time.After(interval):
		case <-c.Context.Done():
			return l, c.Context.Err()
		}
	}
	l.last, now, err = once()
	if interval > 0 {
		l.apart = now.Sub(began)
	}
	return l, err
}

// rate is a number for each second; nil: not known.
type rate = *float64

// ratePer is the rate of a count that was before and is now.
func ratePer(before, now uint64, apart time.Duration) rate {
	if apart <= 0 {
		return nil
	}
	r := float64(now-min(before, now)) / apart.Seconds()
	return &r
}

// rateText is a rate in a table.
func rateText(r rate) string {
	switch {
	case r == nil:
		return "-"
	case *r < 100:
		return strconv.FormatFloat(*r, 'f', 1, 64)
	}
	return strconv.FormatFloat(*r, 'f', 0, 64)
}

// age is for how long something has been waiting; nil: nothing is, or it is not known.
type age = *float64

// ageOf is the age of the message at an offset of an index. A message that is gone meanwhile, or
// cannot be read, has none.
func ageOf(ctx context.Context, client *trimq.Client, index, offset uint64) (age, error) {
	at, ok, err := client.TimeAt(ctx, index, offset)
	switch {
	case errors.Is(err, trimq.ErrOffsetOutOfRange), errors.Is(err, trimq.ErrUnknownIndex), errors.Is(err, trimq.ErrCorrupt):
		return nil, nil
	case err != nil || !ok:
		return nil, err
	}
	seconds := max(time.Since(at), 0).Round(time.Millisecond).Seconds()
	return &seconds, nil
}

// elder is the greater of two ages.
func elder(a, b age) age {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// ageText is an age in a table.
func ageText(a age) string {
	if a == nil {
		return "-"
	}
	d := time.Duration(*a * float64(time.Second))
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
