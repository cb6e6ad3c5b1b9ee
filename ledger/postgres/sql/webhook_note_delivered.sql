-- A delivery was taken by who it is for. $1 community, $2 webhook, $3 delivery, $4 status
UPDATE webhooks.deliveries SET state = 'delivered', status = $4, code = NULL
WHERE community = $1 AND webhook = $2 AND delivery = $3
