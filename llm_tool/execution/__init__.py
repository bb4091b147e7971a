"""Running a plan and handing its events on."""
