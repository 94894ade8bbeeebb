package ec2

import (
	"time"

	"sallyport.dev/sallyport/internal/apierr"
)

// Version is an API version: the date in a request's parameter Version. A Version from [ParseVersion] is one
// that is served.
type Version string

// The versions that matter here. Between the first and the last every date is served: the API only grew, so one
// codec serves them all, and the version is echoed and, for a few old behaviours, compared.
const (
	VersionOldest  Version = "2008-01-01"
	VersionCurrent Version = "2016-11-15"
	VersionSTS     Version = "2011-06-15"
)

// Before says whether v is older than the other version.
func (v Version) Before(other Version) bool { return v < other }

// ParseVersion reads the parameter Version of a request to the service. Absent it is MissingParameter; a date
// that is none, or that the service never had, is NoSuchVersion.
func ParseVersion(s Service, p Params) (Version, error) {
	text, ok := p.Get("Version")
	if !ok || text == "" {
		return "", apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter Version")
	}
	v := Version(text)
	if s == ServiceSTS {
		if v != VersionSTS {
			return "", noSuchVersion(text, "AWSSecurityTokenService")
		}
		return v, nil
	}
	if _, err := time.Parse(time.DateOnly, text); err != nil || v.Before(VersionOldest) || VersionCurrent.Before(v) {
		return "", noSuchVersion(text, "AmazonEC2")
	}
	return v, nil
}

func noSuchVersion(text, service string) *apierr.Error {
	return apierr.New(apierr.CodeNoSuchVersion, "The requested version (%s) of service %s does not exist", shorten(text), service)
}
