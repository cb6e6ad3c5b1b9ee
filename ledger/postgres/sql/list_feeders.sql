-- $1 community
SELECT feeder, name FROM feeders WHERE community = $1 ORDER BY feeder
