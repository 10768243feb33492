"""Is it true: metrics, calibration, applicability domain, comparison."""
