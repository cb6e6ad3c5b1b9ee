-- What of the settings was brought into the book last, by parts. $1 community
SELECT part, digest FROM settlement.provisioned WHERE community = $1
